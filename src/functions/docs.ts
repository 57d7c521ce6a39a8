import { Hono } from 'hono'
import { secureHeaders } from 'hono/secure-headers'
import { addDocsFiles } from '../platform/docs.ts'
import { behindGateway } from './gateway.ts'

const app = new Hono().use(secureHeaders())
addDocsFiles(app)

/** Swagger UI's own files for every service, so that the other functions need not carry them. */
export const handler = behindGateway(app, ['/customers-api', '/orders-api'])
