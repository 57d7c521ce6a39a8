import axios from 'axios'
import { z } from 'zod'
import { CreateAndConfirm, createAndConfirm } from '../../baseline/create-and-confirm.ts'

/** Without routes it needs no Express: it handles the event itself. */
export async function handler(event: { body: string | null; isBase64Encoded?: boolean }) {
  const start = Date.now()
  const answer = await responseTo(event).catch((error: unknown) => refusalOf(error))
  console.log(JSON.stringify({ status: answer.status, ms: Date.now() - start }))
  return {
    statusCode: answer.status,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(answer.body),
  }
}

async function responseTo({ body, isBase64Encoded = false }: { body: string | null; isBase64Encoded?: boolean }) {
  const text = Buffer.from(body ?? '', isBase64Encoded ? 'base64' : 'utf8').toString()
  return { status: 201, body: await createAndConfirm(CreateAndConfirm.parse(JSON.parse(text))) }
}

function refusalOf(error: unknown) {
  if (error instanceof z.ZodError || error instanceof SyntaxError) {
    return { status: 400, body: { success: false, message: error.message } }
  }
  if (axios.isAxiosError(error) && error.response && error.response.status < 500) {
    return { status: error.response.status, body: { success: false, message: 'The order was refused' } }
  }
  console.error(error)
  return { status: 502, body: { success: false, message: 'A service failed' } }
}
