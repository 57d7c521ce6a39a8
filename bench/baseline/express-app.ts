import express, { type ErrorRequestHandler, type Express, type RequestHandler } from 'express'
import jwt from 'jsonwebtoken'
import { createPool, type Pool } from 'mysql2/promise'
import { ZodError } from 'zod'

/** A response other than 200, thrown from below a route. */
export class HttpError extends Error {
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

/** The common parts of both APIs: JSON bodies, a log line for each request, `/health`. */
export function createApp(): Express {
  const app = express()
  app.disable('x-powered-by')
  app.use(express.json({ limit: '64kb' }))
  app.use((request, response, next) => {
    const start = Date.now()
    response.on('finish', () => {
      const { method, path } = request
      console.log(JSON.stringify({ method, path, status: response.statusCode, ms: Date.now() - start }))
    })
    next()
  })
  app.get('/health', (_, response) => {
    response.json({ status: 'ok' })
  })
  return app
}

export const answerErrors: ErrorRequestHandler = (error, _request, response, _next) => {
  if (error instanceof ZodError) response.status(400).json({ message: 'Bad request', issues: error.issues })
  else if (error instanceof HttpError) response.status(error.status).json({ message: error.message })
  else {
    console.error(error)
    response.status(500).json({ message: 'Internal error' })
  }
}

/** Requires a token with this scope. */
export function requireScope(scope: string): RequestHandler {
  return (request, _response, next) => {
    const claims = verifyToken(request.headers.authorization)
    if (!String(claims.scope).split(' ').includes(scope)) throw new HttpError(403, `The scope ${scope} is missing`)
    next()
  }
}

function verifyToken(authorization: string | undefined): jwt.JwtPayload {
  const [, token = ''] = /^Bearer (.+)$/.exec(authorization ?? '') ?? []
  try {
    const claims = jwt.verify(token, process.env.JWT_SECRET ?? '', {
      algorithms: ['HS256'],
      issuer: 'b2b-orders',
      audience: 'b2b-orders',
    })
    if (typeof claims === 'object') return claims
  } catch {
    // Refused below, like every other invalid token.
  }
  throw new HttpError(401, 'The token is not valid')
}

/** Requires the service token. */
export const requireServiceToken: RequestHandler = (request, _response, next) => {
  if (request.headers.authorization !== `Bearer ${process.env.SERVICE_TOKEN}`) throw new HttpError(401, 'Unauthorized')
  next()
}

export function openPool(): Pool {
  return createPool({
    host: process.env.DB_HOST ?? 'localhost',
    port: Number(process.env.DB_PORT ?? 3306),
    user: process.env.DB_USER ?? 'root',
    password: process.env.DB_PASS ?? '',
    database: process.env.DB_NAME ?? 'b2b',
    connectionLimit: Number(process.env.DB_POOL ?? 2),
    charset: 'utf8mb4',
    timezone: 'Z',
  })
}
