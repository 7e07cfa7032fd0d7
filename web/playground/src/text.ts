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
    tokenHelp: "standalone prints a link that brings a token along when it starts; the command “standalone token” makes others.",
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
    awayUnread: "Cut before anything came. Connected again, it begins with what is new then.",
    back: "Gone on after {cursor} over {transport}: {count} messages caught up with, none lost.",
    lost: "Gaps: {count}. What lay between is no longer held; it goes on with the oldest message that is.",
    published: "Published as {id}.",
    summary: "Comet {comet}, Socket.IO {chat}, event stream {sse}; messages a second: {rate}. Dashed lines are new connections, red ones gaps. Latency is counted from the quickest message: no clock here has to be right.",
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
    of: "{transport}: {what}",
    "why.start": "",
    "why.ended": "the server ended the connection.",
    "why.network": "the connection broke, or could not be made.",
    "why.buffered": "nothing came within {seconds} s: something between holds it back.",
    "why.blocked": "something between, or a server of another kind, refuses it.",
    "why.blocked.status": "answered {status}, and not by the server.",
    "why.unreachable": "the server is unreachable; it is tried again.",
    "why.silent": "no sign of life for {seconds} s.",
    "why.busy": "the server cannot take it now, and asks to come again later.",
    "why.better": "a better transport is given another try.",
    "why.hidden": "the page was left.",
    "why.shown": "the page is shown again.",
    "why.online": "the network is back.",
    "why.token": "the token may have run out, and another is asked for.",
    "why.refused": "the server refuses it.",
    "why.refused.status": "answered {status}, and not by the server.",
    "why.closed": "",
    "code.bad_channel": "that is no channel: 1 to 128 of A-Z a-z 0-9 _ - . ~",
    "code.bad_event": "that is no event: 1 to 128 printable characters, and none of the names that Socket.IO and gaps need.",
    "code.token_needed": "a token is needed for this channel.",
    "code.bad_token": "the token does not hold: it is damaged, has run out, or was signed with another key.",
    "code.insufficient_scope": "the token does not allow this for this channel.",
    "code.no_key": "no key for tokens is set on the server (TRIDENT_SECRET), so that nobody may do this.",
    "code.bad_origin": "pages of this origin may not do this (TRIDENT_ORIGINS).",
    "code.too_slow": "the request came too slowly.",
    "code.too_large": "it is longer than the server takes (TRIDENT_MAX_BODY).",
    "code.too_many_requests": "too much at once: try again in a moment.",
    "code.too_many_connections": "the server has no connection to spare: it is tried again.",
    "code.too_many_channels": "the server has no channel to spare: it is tried again.",
    "code.too_many_keys": "the server remembers no more publications for now: try again in a moment.",
    "code.bus_unavailable": "the server cannot reach its log: it is tried again.",
    "code.outcome_unknown": "the connection to the log broke: the message may have been published or not.",
    "code.catching_up": "too much is still on its way: it is tried again.",
    "code.forbidden": "you may not do that in this room.",
    "code.bad_room": "that is no room: 1 to 123 of A-Z a-z 0-9 _ - . ~",
    "code.bad_name": "that is no name: 1 to 40 printable characters.",
    "code.bad_message": "that is no message.",
    "code.no_room": "you are in no room: enter one first.",
    "code.too_many_rooms": "you are in too many rooms.",
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
    tokenHelp: "standalone 启动时会打印一个带令牌的链接；命令“standalone token”可生成更多令牌。",
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
    awayUnread: "在收到任何消息之前断开。重新连接后，从那时的新消息开始。",
    back: "经{transport}从 {cursor} 之后继续：补上 {count} 条消息，无一丢失。",
    lost: "缺口：{count} 处。其间的消息已不再保留，从现存最早的一条继续。",
    published: "已发布，id 为 {id}。",
    summary: "Comet {comet}，Socket.IO {chat}，事件流 {sse}；每秒 {rate} 条消息。虚线是新的连接，红线是缺口。延迟以最快的一条消息为零点，与本机时钟无关。",
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
    of: "{transport}：{what}",
    "why.start": "",
    "why.ended": "服务器结束了连接。",
    "why.network": "连接中断，或无法建立。",
    "why.buffered": "{seconds} 秒内没有收到任何数据：中间有设备把它扣住了。",
    "why.blocked": "被中间的设备或其他服务器拒绝。",
    "why.blocked.status": "得到 {status} 应答，但不是来自本服务器。",
    "why.unreachable": "无法连接服务器，将会重试。",
    "why.silent": "{seconds} 秒没有任何动静。",
    "why.busy": "服务器暂时无法接纳，请稍后再来。",
    "why.better": "再试一次更好的传输方式。",
    "why.hidden": "页面已离开。",
    "why.shown": "页面重新显示。",
    "why.online": "网络已恢复。",
    "why.token": "令牌可能已过期，正在换取新的。",
    "why.refused": "服务器拒绝了请求。",
    "why.refused.status": "得到 {status} 应答，但不是来自本服务器。",
    "why.closed": "",
    "code.bad_channel": "频道名无效：须为 1 到 128 个字符，可用 A-Z a-z 0-9 _ - . ~",
    "code.bad_event": "事件名无效：须为 1 到 128 个可打印字符，且不能是 Socket.IO 与缺口的保留名。",
    "code.token_needed": "这个频道需要令牌。",
    "code.bad_token": "令牌无效：已损坏、已过期，或由别的密钥签发。",
    "code.insufficient_scope": "令牌不允许对这个频道这样做。",
    "code.no_key": "服务器没有设置令牌密钥（TRIDENT_SECRET），因此谁都不能这样做。",
    "code.bad_origin": "这个来源的页面不能这样做（TRIDENT_ORIGINS）。",
    "code.too_slow": "请求来得太慢。",
    "code.too_large": "超过了服务器接受的长度（TRIDENT_MAX_BODY）。",
    "code.too_many_requests": "一次太多了，请稍后再试。",
    "code.too_many_connections": "服务器没有空余的连接，将会重试。",
    "code.too_many_channels": "服务器没有空余的频道，将会重试。",
    "code.too_many_keys": "服务器暂时记不下更多的发布，请稍后再试。",
    "code.bus_unavailable": "服务器连不上日志，将会重试。",
    "code.outcome_unknown": "与日志的连接中断：消息可能已经发布，也可能没有。",
    "code.catching_up": "还有太多消息在路上，将会重试。",
    "code.forbidden": "你不能在这个房间里这样做。",
    "code.bad_room": "房间名无效：须为 1 到 123 个字符，可用 A-Z a-z 0-9 _ - . ~",
    "code.bad_name": "名字无效：须为 1 到 40 个可打印字符。",
    "code.bad_message": "这不是有效的消息。",
    "code.no_room": "你不在任何房间里，请先进入一个。",
    "code.too_many_rooms": "你进入的房间太多了。",
  },
} as const;

export type Language = keyof typeof WORDS;
export type Word = keyof (typeof WORDS)["en"];

const KEPT = "trident-language";
let language: Language = kept() ?? (navigator.language.startsWith("zh") ? "zh" : "en");
const changed = new Set<() => void>();

/** There is none where a browser lets the page keep nothing. */
function storage(): Storage | undefined {
  try {
    return localStorage;
  } catch {
    return undefined;
  }
}

function kept(): Language | undefined {
  const found = storage()?.getItem(KEPT);
  return found === "en" || found === "zh" ? found : undefined;
}

export const isWord = (name: string): name is Word => name in WORDS.en;

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
  storage()?.setItem(KEPT, language);
  for (const show of changed) show();
}

export const currentLanguage = (): string => (language === "zh" ? "zh-CN" : "en");
