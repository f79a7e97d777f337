// A function as people deploy them, and what runs it: an Express app behind serverless-http's handler, and an HTTP server that
// calls the handler with each event that is POSTed to it, as Lambda's runtimes do. Its first line says its port.

import { createServer } from 'node:http'
import { text } from 'node:stream/consumers'
import cookieParser from 'cookie-parser'
import express from 'express'
import serverless from 'serverless-http'

const PNG = Buffer.from('\x89PNG\r\n\x1a\n\x00\xff', 'latin1')

const app = express()
// The caller and his scheme are what X-Forwarded-For and X-Forwarded-Proto say.
app.set('trust proxy', true)
// What the app throws is answered, and not told on the tests' output.
app.set('env', 'test')
app.use(cookieParser())

app.get('/pets/:name', (request, response) => {
  const { event } = request.apiGateway
  response.append('x-seen', 'one').append('x-seen', 'two')
  response.json({
    name: request.params.name,
    q: [request.query.q].flat(),
    cookies: request.cookies,
    many: request.get('x-many').split(/, */),
    client: request.ip,
    origin: `${request.protocol}://${request.host}`,
    stage: event.requestContext.stage,
    proxy: event.pathParameters.proxy,
  })
})

app.post('/pets', express.json(), (request, response) => {
  response.cookie('first', '1').cookie('second', '2', { httpOnly: true })
  response.status(201).json(request.body)
})

app.put('/turned', express.raw({ type: '*/*', limit: '6mb' }), (request, response) => {
  response.type('application/octet-stream').send(request.body.reverse())
})

app.get('/image', (_, response) => {
  response.type('image/png').send(PNG)
})

app.get('/moved', (_, response) => {
  response.redirect(303, '/pets/tom')
})

app.get('/crash', () => {
  throw new Error("the app's own fault")
})

const adapted = serverless(app, { binary: ['image/*', 'application/octet-stream'] })

async function handler(event, context) {
  const path = event.rawPath ?? event.path
  if (path === '/unhandled') throw new Error("the handler's own fault")
  if (path === '/nonsense') return { statusCode: 'nonsense' }
  return adapted(event, context)
}

const host = createServer(async (request, response) => {
  const event = JSON.parse(await text(request))
  response.setHeader('content-type', 'application/json')
  try {
    const answer = await handler(event, { awsRequestId: event.requestContext.requestId })
    response.end(JSON.stringify(answer))
  } catch (error) {
    response.setHeader('x-amz-function-error', 'Unhandled')
    response.end(JSON.stringify({ errorMessage: error.message, errorType: error.name }))
  }
})
host.listen(0, '127.0.0.1', () => console.log(host.address().port))
