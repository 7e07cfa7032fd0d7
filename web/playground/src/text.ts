/** Every word of the page, in its two languages. */
const WORDS = {
  en: {
    title: "Trident playground",
    skip: "To the panes",
    demos: "Demos",
    playground: "playground",
    channel: "Channel",
    listen: "Listen",
    language: "中文",
    lede:
      "One log, three ways. Each message has one id, whichever way it comes, and the id is the cursor: cut a connection or " +
      "change its transport, and it goes on where it was.",
    chart: "Latency and rate, the last two minutes",
    publish: "Publish",
    token: "Token",
    tokenHelp: "standalone prints a link that brings a token along when it starts; `standalone token` makes others.",
    event: "Event",
    data: "Data",
    send: "Publish",
    curl: "The same from a terminal",
    count: "Messages",
    latency: "Latency",
    changes: "Connections",
    gaps: "Gaps",
    by: "Switch transport here",
    cut: "Cut the connection",
    mend: "Connect again",
    messages: "Messages, the newest first",
    "phase.connecting": "connecting",
    "phase.open": "open",
    "phase.waiting": "waiting",
    "phase.hidden": "left",
    "phase.closed": "closed",
    "phase.cut": "cut",
    websocket: "WebSocket",
    sse: "event stream",
    stream: "stream of lines",
    longpoll: "long polls",
    away: "Cut after {cursor}. What is published now is not lost.",
    back: "Gone on after {cursor} over {transport}: {count} messages caught up with, none lost.",
    lost: "Gaps: {count}. What lay between is no longer held; it goes on with the oldest message that is.",
    published: "Published as {id}.",
    summary: "Comet {comet}, Socket.IO {chat}, event stream {sse}; {rate} messages a second. Dashed lines are new connections, red ones gaps.",
    chat: "Chat",
    name: "Your name",
    take: "Take it",
    room: "Room",
    enter: "Enter",
    text: "Message to the chat",
    say: "Send",
    said: "What was said",
    here: "{count} here",
    typing: "typing: {names}",
    unanswered: "The server did not answer in time.",
    chatHelp: "Each room is a channel of the log: listen to chat.lobby above, and see it on all three ways.",
    latencySeries: "latency, ms",
    rateSeries: "messages a second",
    time: "time",
  },
  zh: {
    title: "Trident 演练场",
    skip: "跳到面板",
    demos: "演示",
    playground: "演练场",
    channel: "频道",
    listen: "收听",
    language: "English",
    lede: "一份日志，三条通路。每条消息无论从哪条路来都是同一个 id，id 就是游标：断开连接或更换传输方式，都从原处继续。",
    chart: "最近两分钟的延迟与速率",
    publish: "发布",
    token: "令牌",
    tokenHelp: "standalone 启动时会打印一个带令牌的链接；`standalone token` 可生成更多令牌。",
    event: "事件",
    data: "数据",
    send: "发布",
    curl: "在终端里做同样的事",
    count: "消息",
    latency: "延迟",
    changes: "连接次数",
    gaps: "缺口",
    by: "在此切换传输",
    cut: "断开连接",
    mend: "重新连接",
    messages: "消息，最新的在前",
    "phase.connecting": "连接中",
    "phase.open": "已连接",
    "phase.waiting": "等待中",
    "phase.hidden": "已离开",
    "phase.closed": "已关闭",
    "phase.cut": "已断开",
    websocket: "WebSocket",
    sse: "事件流",
    stream: "行流",
    longpoll: "长轮询",
    away: "在 {cursor} 之后断开。此间发布的消息不会丢失。",
    back: "经{transport}从 {cursor} 之后继续：补上 {count} 条消息，无一丢失。",
    lost: "缺口：{count} 处。其间的消息已不再保留，从现存最早的一条继续。",
    published: "已发布，id 为 {id}。",
    summary: "Comet {comet}，Socket.IO {chat}，事件流 {sse}；每秒 {rate} 条消息。虚线是新的连接，红线是缺口。",
    chat: "聊天",
    name: "你的名字",
    take: "使用",
    room: "房间",
    enter: "进入",
    text: "聊天消息",
    say: "发送",
    said: "聊天记录",
    here: "{count} 人在线",
    typing: "正在输入：{names}",
    unanswered: "服务器没有及时应答。",
    chatHelp: "每个房间都是日志里的一个频道：在上面收听 chat.lobby，三条通路都能看到它。",
    latencySeries: "延迟（毫秒）",
    rateSeries: "每秒消息数",
    time: "时间",
  },
} as const;

export type Language = keyof typeof WORDS;
export type Word = keyof (typeof WORDS)["en"];

const KEPT = "trident-language";
let language: Language = kept() ?? (navigator.language.startsWith("zh") ? "zh" : "en");
const changed = new Set<() => void>();

function kept(): Language | undefined {
  const found = localStorage.getItem(KEPT);
  return found === "en" || found === "zh" ? found : undefined;
}

/** A text, with `{name}` filled in. */
export function say(word: Word, values: { [name: string]: string | number } = {}): string {
  return WORDS[language][word].replace(/\{(\w+)\}/g, (_, name: string) => String(values[name] ?? ""));
}

/** Calls `show` now, and whenever the language changes. */
export function inEveryLanguage(show: () => void): void {
  changed.add(show);
  show();
}

/** Fills in the elements below `root` that say by `data-text` which text is theirs, and by `data-label` which label. */
export function translate(root: ParentNode): void {
  inEveryLanguage(() => {
    for (const element of root.querySelectorAll<HTMLElement>("[data-text]")) element.textContent = say(element.dataset.text as Word);
    for (const element of root.querySelectorAll<HTMLElement>("[data-label]")) element.setAttribute("aria-label", say(element.dataset.label as Word));
  });
}

export function otherLanguage(): void {
  language = language === "en" ? "zh" : "en";
  localStorage.setItem(KEPT, language);
  for (const show of changed) show();
}

export const currentLanguage = (): string => (language === "zh" ? "zh-CN" : "en");
