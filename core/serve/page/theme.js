// Sets the theme before the first paint, so that nothing flashes: what was chosen here, else what the system says.
(() => {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => {
    try {
      const kept = localStorage.getItem("weir.theme");
      return kept === "light" || kept === "dark" ? kept : "auto";
    } catch {
      return "auto"; // storage may be forbidden
    }
  };
  const show = (theme) => {
    document.documentElement.dataset.theme = theme !== "auto" ? theme : system.matches ? "dark" : "light";
  };
  window.weirTheme = {
    chosen,
    choose(theme) {
      try {
        localStorage.setItem("weir.theme", theme);
      } catch {
        // then it holds until the page is left
      }
      show(theme);
    },
  };
  system.addEventListener("change", () => show(chosen()));
  show(chosen());
})();
