// The page for an address at which there is nothing.

import { addWords, startPage } from "./page.js";

addWords({
  en: {
    title: "Page not found · Trident",
    skip: "To the content",
    heading: "There is no page at this address",
    lede: "Check the address for a spelling mistake, or continue at one of the pages above.",
    home: "To the start page",
  },
  zh: {
    title: "页面不存在 · Trident",
    skip: "跳到内容",
    heading: "此地址没有页面",
    lede: "请检查地址是否有误，或从上方的页面继续。",
    home: "前往首页",
  },
});

startPage();
