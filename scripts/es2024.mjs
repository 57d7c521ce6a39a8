// What the sources use and Node 20 lacks. The bundles of dist/ begin with it.

Promise.withResolvers ??= function withResolvers() {
  let functions
  const promise = new this((resolve, reject) => {
    functions = { resolve, reject }
  })
  return { promise, ...functions }
}

Map.groupBy ??= function groupBy(items, keyOf) {
  const groups = new Map()
  for (const item of items) {
    const key = keyOf(item)
    const group = groups.get(key)
    if (group) group.push(item)
    else groups.set(key, [item])
  }
  return groups
}
