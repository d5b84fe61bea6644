"""Opens a WebSocket with the look of a read, to delete through it what no question shows."""
import os, socket, ssl

to = ssl.create_default_context().wrap_socket(
    socket.create_connection(("gmail.googleapis.com", 443), timeout=60), server_hostname="gmail.googleapis.com")
to.sendall(b"GET /gmail/v1/users/me/messages?maxResults=1 HTTP/1.1\r\nHost: gmail.googleapis.com\r\n"
           b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
           b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
order = b"mutation { deleteEverything }"
mask = os.urandom(4)
try:
    to.sendall(bytes([0x81, 0x80 | len(order)]) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(order)))
except OSError:
    pass
first = to.recv(64).split(b"\r\n")[0].decode()
print("heard", first)
if " 101 " in first or " 200 " in first:
    print("REACHED a channel that nobody reads")
print("TRIED")
