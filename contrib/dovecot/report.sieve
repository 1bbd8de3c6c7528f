# A mail came into Junk by a person's hand. What delivery files there does not come here.
require ["vnd.dovecot.pipe", "copy", "imapsieve", "environment", "variables"];

if environment :matches "imap.user" "*" {
  set "user" "${1}";
}
pipe :copy "novacula-sieve" ["report", "${user}"];
