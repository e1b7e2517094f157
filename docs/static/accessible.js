// The theme's search button is called otherwise than it is written, and its folds are not called at all:
// whoever speaks to a page says what is seen.
addEventListener("DOMContentLoaded", () => {
  for (const button of document.querySelectorAll(".search-button__button")) button.setAttribute("aria-label", "Search Ctrl+K");
  for (const fold of document.querySelectorAll("summary:has(> .toctree-toggle)")) {
    const page = fold.closest("li").querySelector("a").textContent.trim();
    fold.setAttribute("aria-label", `Pages of ${page}`);
  }
});
