// Opens every page of a built book in Chromium, light and dark, wide and narrow, and prints what it finds as JSON.
// node look.mjs FOLDER CHROMIUM [PICTURES]: PICTURES is a folder for a screenshot of each page.
import { readdirSync, readFileSync, mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join, relative } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const [folder, executablePath, pictures] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf-8");
const files = readdirSync(folder, { recursive: true })
  .filter((name) => name.endsWith(".html") && !/^(_static|index\.html)/.test(name))
  .sort();
const SIZES = { wide: { width: 1440, height: 900 }, narrow: { width: 390, height: 844 } };

function measure() {
  const top = (selector) => {
    const found = [...document.querySelectorAll(selector)].find((each) => each.getBoundingClientRect().height > 0);
    return found ? found.getBoundingClientRect().top + window.scrollY : null;
  };
  const edged = (element) => {
    for (let each = element; each && each !== document.body; each = each.parentElement) {
      const style = getComputedStyle(each);
      if (["auto", "scroll"].includes(style.overflowX)) return style.backgroundImage.includes("gradient");
    }
    return false;
  };
  const cut = [...document.querySelectorAll("article table, article svg, article pre, article img")]
    .filter((each) => each.getBoundingClientRect().right > document.documentElement.clientWidth + 1 && !edged(each))
    .filter((each) => !each.closest("pre, .highlight") && each.checkVisibility())
    .map((each) => each.outerHTML.slice(0, 120));
  const sizes = [...document.querySelectorAll("svg.drawn text")].filter((each) => each.checkVisibility()).map((each) => {
    const svg = each.ownerSVGElement;
    return (parseFloat(getComputedStyle(each).fontSize) * svg.getBoundingClientRect().width) / svg.viewBox.baseVal.width;
  });
  const boxes = [...document.querySelectorAll(".scroll")].filter((each) => each.querySelector("svg.drawn"));
  const figures = boxes.filter((each) => each.checkVisibility()).map((each) => ({
    name: each.getAttribute("aria-label"),
    slim: each.querySelector(".slim") !== null,
    shown: [...each.querySelectorAll("svg.drawn")].filter((svg) => svg.getBoundingClientRect().width > 0).length,
    sideways: each.scrollWidth - each.clientWidth,
  }));
  return {
    figures,
    card: top(".card-claim"),
    figure: top("svg.drawn"),
    cut,
    wider: Math.max(0, document.scrollingElement.scrollWidth - document.documentElement.clientWidth),
    smallest: sizes.length ? Math.min(...sizes) : null,
  };
}

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
const found = [];
const remote = [];
for (const [scheme, name] of [["light", "wide"], ["dark", "wide"], ["light", "narrow"]]) {
  const context = await browser.newContext({ colorScheme: scheme, viewport: SIZES[name], bypassCSP: true });
  const page = await context.newPage();
  page.on("request", (request) => {
    if (!/^(file|data|blob):/.test(request.url())) remote.push(request.url());
  });
  for (const file of files) {
    await page.goto(pathToFileURL(join(folder, file)).href, { waitUntil: "load" });
    await page.waitForTimeout(60);
    const row = { page: relative("", file), scheme, size: name, ...(await page.evaluate(measure)) };
    if (pictures) {
      mkdirSync(pictures, { recursive: true });
      const path = join(pictures, `${file.replaceAll("/", "_").replace(".html", "")}_${name}_${scheme}.png`);
      const height = await page.evaluate(() => document.documentElement.scrollHeight);
      await page.setViewportSize({ width: SIZES[name].width, height });
      await page.screenshot({ path });
      await page.setViewportSize(SIZES[name]);
    }
    if (name === "wide") {
      await page.evaluate(axe);
      const result = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
      row.violations = result.violations
        .filter((each) => ["serious", "critical"].includes(each.impact))
        .map((each) => ({ id: each.id, nodes: each.nodes.map((node) => node.html.slice(0, 160)).slice(0, 5) }));
    }
    found.push(row);
  }
  await context.close();
}
await browser.close();
console.log(JSON.stringify({ pages: found, remote }));
