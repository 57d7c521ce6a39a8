import { callerOf, locationOf, type ServiceApp } from '../platform/http/app.ts'
import { preconditionsOf } from '../platform/http/etag.ts'
import { nextLink } from '../platform/http/pagination.ts'
import { etagHeader, sendJson, sendStored, sendVersioned } from '../platform/http/response.ts'
import { addRoute } from '../platform/http/routes.ts'
import { keyOf } from '../platform/idempotency/header.ts'
import {
  adjustStock,
  changeProduct,
  createProduct,
  getProduct,
  listProducts,
  listStockAdjustments,
} from './contract.ts'
import type { ProductsService } from './service.ts'

export function addProductRoutes(app: ServiceApp, products: ProductsService): void {
  addRoute(app, createProduct, async (c) => {
    const key = keyOf(c)
    const response = await products.createProduct(callerOf(c), c.req.valid('json'), key)
    return sendStored(c, createProduct, response, { location: locationOf(c, response.targetId), etag: '"1"' })
  })

  addRoute(app, getProduct, async (c) => sendVersioned(c, await products.getProduct(c.req.valid('param').id)))

  addRoute(app, listProducts, async (c) => {
    const page = await products.listProducts(c.req.valid('query'))
    return sendJson(c, page, 200, nextLink(c.req.url, page))
  })

  addRoute(app, listStockAdjustments, async (c) => {
    const page = await products.listStockAdjustments(callerOf(c), c.req.valid('param').id, c.req.valid('query'))
    return sendJson(c, page, 200, nextLink(c.req.url, page))
  })

  addRoute(app, changeProduct, async (c) => {
    const { id } = c.req.valid('param')
    const response = await products.changeProduct(callerOf(c), id, c.req.valid('json'), keyOf(c), preconditionsOf(c))
    return sendStored(c, changeProduct, response, etagHeader(response))
  })

  addRoute(app, adjustStock, async (c) => {
    const { id } = c.req.valid('param')
    const input = c.req.valid('json')
    return sendStored(c, adjustStock, await products.adjustStock(callerOf(c), id, input, keyOf(c), preconditionsOf(c)))
  })
}
