# A mail left Junk by a person's hand. Who throws it away says nothing.
require ["vnd.dovecot.pipe", "copy", "imapsieve", "environment", "variables"];

if environment :matches "imap.mailbox" ["Trash", "Junk"] {
  stop;
}
if environment :matches "imap.user" "*" {
  set "user" "${1}";
}
pipe :copy "novacula-sieve" ["revoke", "${user}"];
