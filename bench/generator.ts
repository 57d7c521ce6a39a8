import { encodeRequest, RawConnection } from '../testing/raw-http.ts'
import { type Caller, generateLoads, type Load } from './caller-loop.ts'
import { type Service, WORKLOADS } from './workloads.ts'

/**
 * The load through HTTP, in a process of its own: callers with one request in flight each. It uses bare sockets,
 * because on a small machine a full client would cost about as much as the systems under test.
 */
export interface HttpLoad extends Load {
  ports: Record<Service, number>
}

generateLoads<HttpLoad>(openCaller)

/** A caller with its own connection to each service. */
function openCaller({ workload: name, fixture, ports }: HttpLoad): Caller {
  const workload = WORKLOADS.find((workload) => workload.name === name)
  if (workload === undefined) throw new Error(`no workload ${name}`)
  const connections = new Map<Service, RawConnection>()
  const connectionTo = (service: Service) => {
    const connection = connections.get(service) ?? new RawConnection(ports[service])
    connections.set(service, connection)
    return connection
  }
  const close = () => {
    for (const connection of connections.values()) connection.close()
    connections.clear()
  }
  return {
    async act() {
      const request = workload.request(fixture)
      const { service, status: expected, places } = request
      try {
        const { status, text } = await connectionTo(service).send(encodeRequest(request))
        if (status !== expected) throw new Error(`${status}: ${text.slice(0, 500)}`)
        return { placed: places }
      } catch (error) {
        close()
        throw error
      }
    },
    close,
  }
}
