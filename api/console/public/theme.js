// Before the first paint, so that nobody who works in the dark is blinded for a moment.
try {
  var prefs = JSON.parse(localStorage.getItem("console.preferences") || "{}");
  if (prefs.theme === "dark" || prefs.theme === "light") document.documentElement.dataset.theme = prefs.theme;
} catch (error) {
  // Unreadable preferences are no preferences.
}
