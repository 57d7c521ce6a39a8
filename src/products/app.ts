import { callerOf, locationOf, type ServiceApp } from '../platform/http/app.ts'
import { keyOf, preconditionsOf } from '../platform/http/contract.ts'
import { nextLink } from '../platform/http/pagination.ts'
import { etagOfStored, sendJson, sendStored, sendVersioned } from '../platform/http/response.ts'
import { adjustStock, changeProduct, createProduct, getProduct, listProducts } from './contract.ts'
import type { ProductsService } from './service.ts'

export function addProductRoutes(app: ServiceApp, products: ProductsService): void {
  app.openapi(createProduct, async (c) => {
    const key = keyOf(c)
    const response = await products.createProduct(callerOf(c), c.req.valid('json'), key)
    return sendStored(c, response, { location: locationOf(c, response.targetId), etag: '"1"' })
  })

  app.openapi(getProduct, async (c) => sendVersioned(c, await products.getProduct(c.req.valid('param').id)))

  app.openapi(listProducts, async (c) => {
    const page = await products.listProducts(c.req.valid('query'))
    return sendJson(c, page, 200, nextLink(c.req.url, page))
  })

  app.openapi(changeProduct, async (c) => {
    const { id } = c.req.valid('param')
    const response = await products.changeProduct(callerOf(c), id, c.req.valid('json'), keyOf(c), preconditionsOf(c))
    return sendStored(c, response, { etag: etagOfStored(response) })
  })

  app.openapi(adjustStock, async (c) => {
    const { id } = c.req.valid('param')
    const input = c.req.valid('json')
    return sendStored(c, await products.adjustStock(callerOf(c), id, input, keyOf(c), preconditionsOf(c)))
  })
}
