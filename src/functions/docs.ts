import { Hono } from 'hono'
import type { AppEnv } from '../platform/http/app.ts'
import { addDocsFiles } from '../platform/http/docs.ts'
import { behindGateway } from './gateway.ts'

const app = new Hono<AppEnv>()
addDocsFiles(app)

/** Serves Swagger UI's files for every service, so that the other functions need not carry them. */
export const handler = behindGateway(app, ['/customers-api', '/orders-api'])
