// Where the agent is and whom this Thunderbird speaks for.

/* global messenger, Agent, t, say */

const at = id => document.getElementById(id);
const status = at("status");

async function show() {
  const { address, user, buttons } = await Agent.settings();
  at("address").value = address;
  at("buttons").checked = buttons;
  say(status, user ? t("pairedWith", [user, address]) : t("notPaired"));
}

// Beyond this computer Thunderbird asks the person first.
async function mayReach(address) {
  const url = new URL(address);
  if (url.protocol === "http:") {
    return true;
  }
  return messenger.permissions.request({ origins: [`${url.origin}/*`] });
}

async function pair(event) {
  event.preventDefault();
  const address = at("address").value.trim();
  const code = at("code").value.trim();
  try {
    if (!Agent.isGoodAddress(address)) {
      throw new Error(t("errorAddress"));
    }
    if (!(await mayReach(address))) {
      throw new Error(t("errorPermission"));
    }
    if (!code) {
      throw new Error(t("errorCode"));
    }
    const { token, user } = await Agent.pair(address, code);
    await messenger.storage.local.set({ address, token, user });
    at("code").value = "";
    say(status, t("pairedWith", [user, address]));
  } catch (error) {
    say(status, error.message, true);
  }
}

async function test() {
  try {
    const answer = await Agent.ask("GET", "/v1/status");
    say(status, t("testGood", [(await Agent.settings()).user, answer.version]));
  } catch (error) {
    say(status, error.message, true);
  }
}

async function forget() {
  await messenger.storage.local.set({ token: "", user: "" });
  await show();
}

at("form").addEventListener("submit", pair);
at("test").addEventListener("click", test);
at("forget").addEventListener("click", forget);
at("buttons").addEventListener("change", () =>
  messenger.storage.local.set({ buttons: at("buttons").checked })
);
show();
