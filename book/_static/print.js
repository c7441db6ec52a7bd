// On paper a page is light, whatever the screen, and the long tables are whole; afterwards all is as before.
let screen_theme, opened;
addEventListener("beforeprint", () => {
  screen_theme = document.documentElement.dataset.theme;
  document.documentElement.dataset.theme = "light";
  opened = [...document.querySelectorAll("article details:not(.code, .card-claim details, [open])")].filter((each) => !each.closest(".rerun"));
  opened.forEach((each) => (each.open = true));
});
addEventListener("afterprint", () => {
  document.documentElement.dataset.theme = screen_theme;
  opened.forEach((each) => (each.open = false));
});
