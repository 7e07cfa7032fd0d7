// The network between client and server.

export { proxy } from "../../lib/proxy.js";
