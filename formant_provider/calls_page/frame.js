"use strict";
// Airflow's UI shows this page in a sandboxed frame, which may not open links outside of it and is not told
// the theme. Both are on the page around it, which has the same origin.
(() => {
  let outer = null;
  try {
    outer = window.parent === window ? null : window.parent.document;
  } catch {
    return; // a page of another origin
  }
  if (outer === null) return;
  const root = document.documentElement;
  const adopt = () => { root.dataset.theme = outer.documentElement.classList.contains("dark") ? "dark" : "light"; };
  adopt();
  new MutationObserver(adopt).observe(outer.documentElement, { attributeFilter: ["class"] });
  document.addEventListener("click", event => {
    const link = event.target.closest("a[target]");
    if (link === null) return;
    event.preventDefault();
    const same = outer.createElement("a");
    same.href = link.href;
    same.rel = "noopener noreferrer";
    same.target = event.ctrlKey || event.metaKey || event.shiftKey ? "_blank" : link.target;
    same.click();
  });
})();
