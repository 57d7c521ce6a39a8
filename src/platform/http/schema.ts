import { extendZodWithOpenApi } from '@asteasolutions/zod-to-openapi'
import { z } from 'zod'

// Contracts take `z` from here: from Hono's package it would bring Hono itself into them.
extendZodWithOpenApi(z)

export { z }
