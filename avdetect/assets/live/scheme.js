// Light or dark, before anything is painted: what was chosen here, else what the system prefers.
"use strict";

(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => localStorage.getItem("scheme");
  const apply = () => {
    document.documentElement.dataset.scheme = chosen() ?? (dark.matches ? "dark" : "light");
    dispatchEvent(new Event("schemechange"));
  };
  dark.addEventListener("change", apply);
  apply();

  /** Turn to the other scheme; where that is what the system prefers, follow the system again. */
  window.switchScheme = () => {
    const wanted = document.documentElement.dataset.scheme === "dark" ? "light" : "dark";
    if (wanted === (dark.matches ? "dark" : "light")) localStorage.removeItem("scheme");
    else localStorage.setItem("scheme", wanted);
    apply();
  };
})();
