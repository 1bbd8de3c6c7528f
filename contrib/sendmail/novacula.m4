dnl Novacula in Sendmail 8.14 and later. No F=: mail passes unchecked while the milter is away.
INPUT_MAIL_FILTER(`novacula', `S=local:/run/novacula-milter/milter.sock, T=C:10s;S:10s;R:10s;E:30s')
