import { z } from './schema.ts'

// Integers in the documents declare their width: without a format, clients generated for Java, C#, Go and Kotlin
// read 32 bits.

export const MAX_INT32 = 2 ** 31 - 1

/** An integer that may exceed 2^31, up to the largest that JavaScript represents exactly. */
export const int64 = (min: number) => z.int().min(min).openapi({ format: 'int64', maximum: Number.MAX_SAFE_INTEGER })

/** An integer whose bounds fit into 32 bits. */
export const int32 = (min: number, max: number) => z.int().min(min).max(max).openapi({ format: 'int32' })
