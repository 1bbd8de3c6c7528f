// Thunderbird's own Junk and Not Junk buttons report and revoke, but only when a person pressed
// them: Thunderbird's own filter marks mail as junk too, and that is nobody's word.

/* global messenger, Agent, t */

// A mail that was selected so short a time ago may be what the person acted upon: Thunderbird may
// have gone on to the next one before we hear of it. In milliseconds.
const SELECTED_MS = 5000;

// So soon after its arrival a mail is marked by Thunderbird itself. In milliseconds.
const ARRIVED_MS = 10000;

// In storage.session, because Thunderbird ends this script when it is idle.
async function remember(key, ids) {
  const now = Date.now();
  const kept = (await messenger.storage.session.get({ [key]: {} }))[key];
  for (const [id, at] of Object.entries(kept)) {
    if (now - at > 60000) {
      delete kept[id];
    }
  }
  for (const id of ids) {
    kept[id] = now;
  }
  await messenger.storage.session.set({ [key]: kept });
}

async function isRecent(key, id, milliseconds) {
  const kept = (await messenger.storage.session.get({ [key]: {} }))[key];
  return Date.now() - (kept[id] || 0) <= milliseconds;
}

const idsOf = list => (list && list.messages ? list.messages : list || []).map(one => one.id);

async function selectedNow() {
  const ids = [];
  for (const tab of await messenger.tabs.query({})) {
    try {
      ids.push(...idsOf(await messenger.messageDisplay.getDisplayedMessages(tab.id)));
    } catch {
      // This tab shows no mail.
    }
    try {
      ids.push(...idsOf(await messenger.mailTabs.getSelectedMessages(tab.id)));
    } catch {
      // This tab shows no folder.
    }
  }
  return ids;
}

async function didPersonAct(message) {
  if (await isRecent("arrived", message.id, ARRIVED_MS)) {
    return false;
  }
  return (await selectedNow()).includes(message.id) || isRecent("selected", message.id, SELECTED_MS);
}

async function onUpdated(message, changed) {
  if (typeof changed.junk !== "boolean") {
    return;
  }
  const { buttons, token } = await Agent.settings();
  if (!buttons || !token || !(await didPersonAct(message))) {
    return;
  }
  try {
    await Agent.opine(changed.junk ? "report" : "revoke", message);
  } catch (error) {
    await messenger.notifications.create("novacula", {
      type: "basic",
      title: t("name"),
      message: error.message,
      iconUrl: "icons/novacula.svg",
    });
  }
}

messenger.messages.onUpdated.addListener(onUpdated);
messenger.messages.onNewMailReceived.addListener((_folder, list) => remember("arrived", idsOf(list)));
messenger.messageDisplay.onMessagesDisplayed.addListener((_tab, list) =>
  remember("selected", idsOf(list))
);
messenger.mailTabs.onSelectedMessagesChanged.addListener((_tab, list) =>
  remember("selected", idsOf(list))
);
