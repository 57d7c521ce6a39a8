import { sendAnswer, sendJson } from '../platform/answers.ts'
import { callerOf, locationOf, type ServiceApp } from '../platform/app.ts'
import { etagOf, keyOf } from '../platform/contract.ts'
import { nextLink } from '../platform/pages.ts'
import { adjustStock, changeProduct, createProduct, getProduct, listProducts } from './contract.ts'
import type { ProductsService } from './service.ts'

export function addProductRoutes(app: ServiceApp, products: ProductsService): void {
  app.openapi(createProduct, async (c) => {
    const key = keyOf(c)
    const answer = await products.createProduct(callerOf(c), c.req.valid('json'), key)
    return sendAnswer(c, answer, { location: locationOf(c, answer.targetId), etag: '"1"' })
  })

  app.openapi(getProduct, async (c) => {
    const product = await products.getProduct(c.req.valid('param').id)
    return sendJson(c, product, 200, { etag: etagOf(product) })
  })

  app.openapi(listProducts, async (c) => {
    const page = await products.listProducts(c.req.valid('query'))
    return sendJson(c, page, 200, nextLink(c.req.url, page))
  })

  app.openapi(changeProduct, async (c) => {
    const ifMatch = c.req.header('if-match')
    const product = await products.changeProduct(callerOf(c), c.req.valid('param').id, c.req.valid('json'), ifMatch)
    return sendJson(c, product, 200, { etag: etagOf(product) })
  })

  app.openapi(adjustStock, async (c) => {
    const key = keyOf(c)
    return sendAnswer(c, await products.adjustStock(callerOf(c), c.req.valid('param').id, c.req.valid('json'), key))
  })
}
