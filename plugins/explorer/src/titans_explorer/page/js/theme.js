// Before anything is drawn: the colours that were chosen last.
"use strict";
try {
  const theme = localStorage.getItem("titans-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage may be forbidden; the system's colours are used.
}
