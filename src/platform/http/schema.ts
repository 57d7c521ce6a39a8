import { extendZodWithOpenApi } from '@asteasolutions/zod-to-openapi'
import { z } from 'zod'

// Contracts import `z` from here: Hono's package would load Hono with it.
extendZodWithOpenApi(z)

export { z }
