import { defineConfig } from "vitest/config";

export default defineConfig({
  base: "./",
  build: {
    target: "es2022",
    // Nothing in the page itself: the gateway's Content-Security-Policy lets nothing inline run.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    emptyOutDir: true,
  },
  test: { include: ["test/**/*.test.ts"] },
});
