import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

export default defineConfig({
  plugins: [svelte()],
  // One small page that is read from the program itself: no hashes to guess,
  // no inlined assets (the content security policy allows none).
  build: { target: "safari16", assetsInlineLimit: 0, modulePreload: false, sourcemap: false },
  // Tests mount the components for a browser, not for a server.
  resolve: process.env["VITEST"] ? { conditions: ["browser"] } : {},
  test: { environment: "happy-dom", include: ["tests/**/*.test.ts"] },
});
