// A headless Chromium that does what it is told: one JSON command a line on stdin, one answer a line
// on stdout. Called as `node browser.mjs NODE_MODULES`; see browser.py.
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";

const { chromium } = createRequire(join(process.argv[2], "."))("playwright-core");
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-gpu",
    "--enable-unsafe-swiftshader"],
});
const pages = [];

const commands = {
  async open({ url, width, height, scheme }) {
    const page = await browser.newPage({ viewport: { width, height }, colorScheme: scheme });
    const seen = { errors: [], requests: [] };
    page.on("pageerror", (error) => seen.errors.push(String(error)));
    page.on("console", (message) => {
      const of = message.location().url;
      // What a browser says about an answer that is not 200 is no fault of the page.
      if (message.type() === "error" && !message.text().startsWith("Failed to load resource") &&
          !message.text().startsWith("WebSocket connection")) {
        seen.errors.push(`${message.text()} ${of}`);
      }
    });
    page.on("request", (request) => seen.requests.push(request.url()));
    await page.goto(url);
    pages.push({ page, seen });
    return pages.length - 1;
  },
  evaluate: ({ page, script }) => pages[page].page.evaluate(script),
  evaluateWorker: ({ page, script }) => pages[page].page.workers()[0].evaluate(script),
  async wait({ page, script, timeout_s }) {
    // Not Playwright's waitForFunction: the page's security policy forbids what it does.
    const deadline = performance.now() + 1000 * timeout_s;
    while (!(await pages[page].page.evaluate(script))) {
      if (performance.now() > deadline) throw new Error(`not within ${timeout_s} s: ${script}`);
      await pages[page].page.waitForTimeout(50);
    }
  },
  click: ({ page, selector }) => pages[page].page.click(selector),
  fill: ({ page, selector, text }) => pages[page].page.fill(selector, text),
  press: ({ page, key }) => pages[page].page.keyboard.press(key),
  clickAt: ({ page, x, y }) => pages[page].page.mouse.click(x, y),
  move: ({ page, x, y }) => pages[page].page.mouse.move(x, y),
  async download({ page, selector }) {
    const [download] = await Promise.all([
      pages[page].page.waitForEvent("download"), pages[page].page.click(selector)]);
    return { name: download.suggestedFilename(), path: await download.path() };
  },
  async screenshot({ page, path }) {
    await pages[page].page.screenshot({ path });
  },
  seen: ({ page }) => pages[page].seen,
  close: ({ page }) => pages[page].page.close(),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...parameters } = JSON.parse(line);
  let answer;
  try {
    answer = { value: (await commands[command](parameters)) ?? null };
  } catch (error) {
    answer = { error: String(error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await browser.close();
