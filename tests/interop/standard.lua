-- Two mails over one connection: both get their verdict, a forged field goes, an abort harms nothing.
conn = mt.connect(socket)
if conn == nil then error("the milter does not listen") end
-- Version, steps, actions: each step is answered, so that each answer is seen.
if mt.negotiate(conn, 6, 0, SMFIF_ADDHDRS + SMFIF_CHGHDRS) ~= nil then
  error("no agreement")
end
if mt.conninfo(conn, "client.example", "192.0.2.7") ~= nil then error("connect") end
if mt.getreply(conn) ~= SMFIR_CONTINUE then error("connect is not continued") end
if mt.helo(conn, "client.example") ~= nil then error("helo") end
if mt.getreply(conn) ~= SMFIR_CONTINUE then error("helo is not continued") end

function envelope()
  mt.macro(conn, SMFIC_MAIL, "i", "queue-id")
  if mt.mailfrom(conn, "<a@b.example>") ~= nil then error("mail") end
  if mt.getreply(conn) ~= SMFIR_CONTINUE then error("mail is not continued") end
  if mt.rcptto(conn, "<ann@site.example>") ~= nil then error("rcpt") end
  if mt.getreply(conn) ~= SMFIR_CONTINUE then error("rcpt is not continued") end
end

function header(name, value)
  if mt.header(conn, name, value) ~= nil then error("header") end
  if mt.getreply(conn) ~= SMFIR_CONTINUE then error("a field is not continued") end
end

-- One that the client gives up.
envelope()
header("Subject", "given up")
if mt.abort(conn) ~= nil then error("abort") end

for number = 1, 2 do
  envelope()
  header("From", "a@b.example")
  header("X-Novacula", "forged")
  header("Subject", "an ordinary mail")
  if mt.eoh(conn) ~= nil then error("eoh") end
  if mt.getreply(conn) ~= SMFIR_CONTINUE then error("the header's end is not continued") end
  for line = 1, 20 do
    if mt.bodystring(conn, "The meeting of the garden club " .. number .. " is in the hall behind the church at seven, line " .. line .. "\r\n") ~= nil then
      error("body")
    end
    if mt.getreply(conn) ~= SMFIR_CONTINUE then error("the body is not continued") end
  end
  if mt.eom(conn) ~= nil then error("eom") end
  if mt.getreply(conn) ~= SMFIR_CONTINUE then error("the mail does not pass") end
  if not mt.eom_check(conn, MT_HDRDELETE) then error("the forged field stays") end
  if not mt.eom_check(conn, MT_HDRADD, "X-Novacula") then error("no verdict was added") end
end
mt.disconnect(conn)
