/** Where the server's paths begin: the folder of this page, also behind a proxy that serves it under a prefix. */
export const BASE = new URL(".", location.href).href;
