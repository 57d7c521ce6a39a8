import { Hono } from 'hono'
import { handle } from 'hono/aws-lambda'
import { addDocsFiles } from '../platform/docs.ts'

const app = new Hono({
  getPath: (request) => new URL(request.url).pathname.replace(/^\/(customers|orders)-api(?=\/)/, ''),
})
addDocsFiles(app)

/** Swagger UI's own files for every service, so that the other functions need not carry them. */
export const handler = handle(app)
