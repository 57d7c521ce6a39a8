import { z } from './schema.ts'

// Integers of the documents say how wide they are: without a format, clients generated for Java, C#, Go and Kotlin read
// 32 bits.

export const MAX_INT32 = 2 ** 31 - 1

/** An integer that may pass 2^31, up to what JSON and JavaScript carry exactly. */
export const int64 = (min: number) => z.int().min(min).openapi({ format: 'int64', maximum: Number.MAX_SAFE_INTEGER })

/** An integer whose bounds fit into 32 bits. */
export const int32 = (min: number, max: number) => z.int().min(min).max(max).openapi({ format: 'int32' })
