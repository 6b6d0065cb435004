import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Worker threads of the product run inside the tests: separate processes keep one file's workers from another's.
    pool: 'forks',
    // What is tested is the code that ships, loaded by Node as users load it.
    server: { deps: { external: [/\/dist\//] } },
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
})
