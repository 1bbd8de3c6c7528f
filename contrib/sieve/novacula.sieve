# Sieve, any server: files what the Novacula milter (or SpamAssassin's plugin) marked as spam.
require ["fileinto"];

if anyof (header :matches "X-Novacula" ["spam", "spam;*"],
          header :matches "X-Spam-Novacula" ["spam", "spam;*"]) {
  fileinto "Junk";
  stop;
}
