// What both pages share: their texts in the user's language.

/* global messenger, t */

document.documentElement.lang = messenger.i18n.getUILanguage();
for (const element of document.querySelectorAll("[data-i18n]")) {
  element.textContent = t(element.dataset.i18n);
}

/* exported say */
function say(element, text, isError) {
  element.textContent = text;
  element.classList.toggle("error", Boolean(isError));
}
