// Speaks with the agent, and with nobody else. Used by the background script, the popup and the
// options page alike.

/* exported Agent, t */
/* global messenger */

const DEFAULT_ADDRESS = "http://127.0.0.1:8825";

// Longest wait for an answer, in milliseconds: the agent needs some, its disk some more.
const ANSWER_MS_MAX = 15000;

const t = (name, values) => messenger.i18n.getMessage(name, values) || name;

const Agent = {
  // What was set up: address, token, user, and whether the junk buttons report.
  async settings() {
    const defaults = { address: DEFAULT_ADDRESS, token: "", user: "", buttons: true };
    return messenger.storage.local.get(defaults);
  },

  // Loopback, or https behind the administrator's proxy; anything else would send mail in the clear.
  isGoodAddress(address) {
    let url;
    try {
      url = new URL(address);
    } catch {
      return false;
    }
    const loopback = ["127.0.0.1", "localhost"].includes(url.hostname);
    return url.protocol === "https:" || (url.protocol === "http:" && loopback);
  },

  // One request; throws an Error whose text a person can act upon.
  async ask(method, path, body, given) {
    const settings = given || (await this.settings());
    if (!this.isGoodAddress(settings.address)) {
      throw new Error(t("errorAddress"));
    }
    const headers = { "Content-Type": "message/rfc822" };
    if (settings.token) {
      headers.Authorization = `Bearer ${settings.token}`;
    }
    let response;
    try {
      response = await fetch(settings.address.replace(/\/+$/, "") + path, {
        method,
        headers,
        body,
        credentials: "omit",
        redirect: "error",
        cache: "no-store",
        signal: AbortSignal.timeout(ANSWER_MS_MAX),
      });
    } catch {
      throw new Error(t("errorNoAgent", [settings.address]));
    }
    let answer;
    try {
      answer = await response.json();
    } catch {
      throw new Error(t("errorNoSense", [settings.address]));
    }
    if (response.status === 401) {
      throw new Error(t("errorToken"));
    }
    if (!response.ok) {
      throw new Error(t("errorRefused", [String(answer.error || response.status)]));
    }
    return answer;
  },

  // The mail as it is, every byte.
  async raw(message) {
    const raw = id => messenger.messages.getRaw(id, { data_format: "File" });
    try {
      return await raw(message.id);
    } catch {
      // Thunderbird has moved it to Junk meanwhile; there it has another number.
      const found = await messenger.messages.query({ headerMessageId: message.headerMessageId });
      if (!found.messages.length) {
        throw new Error(t("errorGone"));
      }
      return raw(found.messages[0].id);
    }
  },

  async check(message) {
    return this.ask("POST", "/v1/check", await this.raw(message));
  },

  // act: report, revoke or withdraw
  async opine(act, message) {
    return this.ask("POST", `/v1/${act}`, await this.raw(message));
  },

  async pair(address, code) {
    const label = `Thunderbird, ${(await messenger.runtime.getPlatformInfo()).os}`;
    const body = JSON.stringify({ code, label });
    return this.ask("POST", "/v1/token", body, { address, token: "" });
  },
};
