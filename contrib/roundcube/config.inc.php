<?php
// Roundcube's plugin markasjunk: plugins/markasjunk/config.inc.php. Its Junk / Not Junk buttons
// then report and revoke for the mailbox user. The web server's user must be in the group novacula
// and in believed_users of the agent. Where Dovecot's imapsieve does it, none of this is needed.
$config['markasjunk_learning_driver'] = 'cmd_learn';
$config['markasjunk_spam_cmd'] = 'novacula report --as %u %f';
$config['markasjunk_ham_cmd'] = 'novacula revoke --as %u %f';
$config['markasjunk_spam_mbox'] = 'Junk';
$config['markasjunk_ham_mbox'] = 'INBOX';
