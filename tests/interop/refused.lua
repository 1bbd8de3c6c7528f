-- A mail that is refused, with the reason; the body comes from a file.
conn = mt.connect(socket)
if conn == nil then error("the milter does not listen") end
if mt.conninfo(conn, "client.example", "192.0.2.7") ~= nil then error("connect") end
if mt.mailfrom(conn, "<a@b.example>") ~= nil then error("mail") end
if mt.rcptto(conn, "<ann@site.example>") ~= nil then error("rcpt") end
if mt.header(conn, "Subject", "Gregory, your spring order is waiting") ~= nil then error("header") end
if mt.header(conn, "Content-Type", "text/plain; charset=utf-8") ~= nil then error("header") end
if mt.eoh(conn) ~= nil then error("eoh") end
if mt.bodyfile(conn, body) ~= nil then error("body") end
if mt.eom(conn) ~= nil then error("eom") end
if mt.getreply(conn) ~= SMFIR_REPLYCODE then error("it is not refused") end
mt.disconnect(conn)
