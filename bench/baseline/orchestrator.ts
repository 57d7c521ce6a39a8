import axios from 'axios'
import { CreateAndConfirm, createAndConfirm } from './create-and-confirm.ts'
import { answerErrors, createApp, HttpError } from './express-app.ts'

const app = createApp()

app.post('/orchestrator/create-and-confirm-order', async (request, response) => {
  const input = CreateAndConfirm.parse(request.body)
  response.status(201).json(await createAndConfirm(input).catch(refuse))
})
app.use(answerErrors)

app.listen(Number(process.env.PORT), '127.0.0.1')

function refuse(error: unknown): never {
  if (axios.isAxiosError(error) && error.response && error.response.status < 500) {
    throw new HttpError(error.response.status, 'The order was refused')
  }
  console.error(error)
  throw new HttpError(502, 'A service failed')
}
