// What the page says, in English and Korean.

const EN = {
  archive: "Archive", keys: "Keys", key: "History", compare: "Compare", sql: "SQL",
  provider: "Provider", dark: "Dark colours", light: "Light colours", language: "한국어로 보기",
  python: "Copy as Python", link: "Copy the address", copied: "Copied", csv: "CSV", parquet: "Parquet",
  downloadAs: "Download as {form}", skip: "Skip to the content", views: "Views",
  failed: "That could not be answered: {reason}", nothing: "This store holds no archive of an installed provider.",
  loading: "Loading", empty: "Nothing here.", first: "First", last: "Last", newest: "Newest",
  minutes: "{n} min", hours: "{n} h", days: "{n} days", ago: "{age} ago",
  living: "Living keys", points: "Change points", size: "Size", span: "From – to", observed: "Last observed",
  fresh: "on time", late: "late", never: "never observed", everyStep: "due every {age}",
  coverage: "Coverage", coverageHint: "Each cell is one look at the source that was due. Click one for the state at that time.",
  observedCell: "observed", changesCell: "changes only", emptyCell: "nothing changed", missingCell: "missing",
  perDay: "Change points per day", months: "Months", month: "Month", state: "State", sealed: "sealed", open: "open",
  levels: "Files by level", snapshots: "Snapshots", gaps: "Gaps", keyframes: "Keyframes", waiting: "Waiting",
  leftOut: "Left out", columns: "Columns", column: "Column", dtype: "Type", unit: "Unit", meaning: "Meaning",
  nulls: "Null", range: "Lowest – median – highest", now: "Now", keyColumn: "key", files: "Files", kind: "Kind",
  count: "Count", rows: "Rows", corrections: "Corrections", when: "When", operation: "What", slot: "Slot",
  reason: "Reason", removed: "Removed", added: "Added", changed: "Changed", all: "All", providers: "Archives in this store",
  health: "Health", wholeRange: "Everything", earlier: "Earlier", later: "Later",
  search: "Search keys", searchHint: "Words of the key, such as m5 us-east", at: "At", timeSlider: "Moment of the state",
  ofLiving: "{count} of {living} keys", filter: "Filter {column}", filterHint: ">1 1..2", textHint: "contains",
  since: "Since", choose: "Choose {key}", showChosen: "Show {n} together", asGroup: "As one line", page: "{from}–{to} of {count}",
  previous: "Previous page", next: "Next page", clear: "Clear filters", more: "{n} more values: search for them",
  sortBy: "Sort by {column}", lines: "Keys and groups", addLine: "Add a key or group", anyHint: "* any, m5.* family",
  remove: "Remove {key}", shownColumns: "Columns", zoomIn: "Closer", zoomOut: "Farther", back: "Earlier", forth: "Later", whole: "All",
  chartHint: "Drag to zoom. With the keyboard: arrows move, + and − zoom, 0 shows all.",
  chartLabel: "{column} over time, {from} to {to}. {lines}", lineLabel: "{key}: {low} to {high}, last {last}", lineGone: "{key}: no values",
  median: "Median", spread: "tenth to ninetieth percentile", perKey: "{n} a key", perPoint: "{n} bytes each", emptyColumns: "Without values: {names}", showAll: "show", hide: "hide", keysOf: "{n} keys", gone: "not there", table: "Change points", ceased: "vanished",
  amended: "corrected: {reason}", amendedMark: "corrected slot", tooMany: "At most {n} keys and groups at once.",
  everyLook: "looked at every {age}", noLines: "Choose a key under Keys, or name one here.", groupKeys: "Show its keys",
  from: "From", to: "To", swap: "Swap", dayBefore: "1 day", weekBefore: "7 days", movers: "Biggest movers", by: "by", rose: "{n} rose", fell: "{n} fell",
  medianMove: "median move {share}", differences: "Differences", was: "before", is: "after", share: "Change",
  run: "Run", runHint: "Ctrl + Enter runs it", query: "Query", examples: "Examples", sqlOff: "SQL is off. Start the explorer with --sql.",
  sqlStill: "A still copy has no SQL.", kept: "the first {n} rows are kept", took: "{ms} ms", onlyFirst: "first",
  still: "still copy", stillHint: "A copy of {from} to {to}. Left out: SQL, lines of Python, Parquet of single views. All change points:",
  askedOf: "Data of {time}",
};

const KO = {
  archive: "아카이브", keys: "키", key: "이력", compare: "비교", sql: "SQL",
  provider: "프로바이더", dark: "어두운 화면", light: "밝은 화면", language: "View in English",
  python: "Python 코드 복사", link: "주소 복사", copied: "복사했습니다", csv: "CSV", parquet: "Parquet",
  downloadAs: "{form}로 내려받기", skip: "본문으로 건너뛰기", views: "화면",
  failed: "응답하지 못했습니다: {reason}", nothing: "이 저장소에는 설치된 프로바이더의 아카이브가 없습니다.",
  loading: "불러오는 중", empty: "표시할 내용이 없습니다.", first: "처음", last: "마지막", newest: "최신",
  minutes: "{n}분", hours: "{n}시간", days: "{n}일", ago: "{age} 전",
  living: "살아 있는 키", points: "change point", size: "크기", span: "기간", observed: "마지막 관측",
  fresh: "정상", late: "지연", never: "관측 없음", everyStep: "관측 주기 {age}",
  coverage: "커버리지", coverageHint: "한 칸이 예정된 관측 한 번입니다. 누르면 그 시점의 상태를 봅니다.",
  observedCell: "관측됨", changesCell: "변경분만", emptyCell: "변경 없음", missingCell: "누락",
  perDay: "일별 change point", months: "월별", month: "월", state: "상태", sealed: "봉인됨", open: "열림",
  levels: "레벨별 파일", snapshots: "스냅샷", gaps: "공백", keyframes: "keyframe", waiting: "대기",
  leftOut: "제외", columns: "컬럼", column: "컬럼", dtype: "타입", unit: "단위", meaning: "설명",
  nulls: "널 비율", range: "최솟값 – 중앙값 – 최댓값", now: "현재", keyColumn: "키", files: "파일", kind: "종류",
  count: "개수", rows: "행", corrections: "정정 내역", when: "시각", operation: "작업", slot: "slot",
  reason: "사유", removed: "삭제", added: "추가", changed: "변경", all: "전체", providers: "이 저장소의 아카이브",
  health: "상태", wholeRange: "전체 기간", earlier: "이전", later: "이후",
  search: "키 검색", searchHint: "키에 들어 있는 단어, 예: m5 us-east", at: "시점", timeSlider: "상태를 볼 시점",
  ofLiving: "키 {living}개 중 {count}개", filter: "{column} 필터", filterHint: ">1 1..2", textHint: "포함",
  since: "유지 시작", choose: "{key} 선택", showChosen: "{n}개 함께 보기", asGroup: "한 선으로 보기", page: "{count}개 중 {from}–{to}",
  previous: "이전 페이지", next: "다음 페이지", clear: "필터 지우기", more: "값 {n}개 더 있음: 검색하세요",
  sortBy: "{column} 기준 정렬", lines: "키와 그룹", addLine: "키나 그룹 추가", anyHint: "* 전부, m5.* 패밀리",
  remove: "{key} 빼기", shownColumns: "컬럼", zoomIn: "확대", zoomOut: "축소", back: "이전", forth: "이후", whole: "전체",
  chartHint: "끌어서 확대합니다. 키보드: 화살표로 이동, + − 로 확대·축소, 0 은 전체.",
  chartLabel: "{column} 추이, {from}부터 {to}까지. {lines}", lineLabel: "{key}: {low}에서 {high}, 마지막 {last}", lineGone: "{key}: 값 없음",
  median: "중앙값", spread: "10–90 백분위", perKey: "키당 {n}개", perPoint: "개당 {n}바이트", emptyColumns: "값 없는 컬럼: {names}", showAll: "보기", hide: "숨기기", keysOf: "키 {n}개", gone: "없음", table: "change point", ceased: "사라짐",
  amended: "정정됨: {reason}", amendedMark: "정정된 slot", tooMany: "키와 그룹은 한 번에 {n}개까지 볼 수 있습니다.",
  everyLook: "{age}마다 조회", noLines: "키 화면에서 키를 고르거나 여기에 직접 입력하세요.", groupKeys: "속한 키 보기",
  from: "시작", to: "끝", swap: "서로 바꾸기", dayBefore: "1일", weekBefore: "7일", movers: "변동 상위", by: "기준", rose: "상승 {n}개", fell: "하락 {n}개",
  medianMove: "변동률 중앙값 {share}", differences: "차이", was: "이전", is: "이후", share: "변동",
  run: "실행", runHint: "Ctrl + Enter 로 실행", query: "쿼리", examples: "예제", sqlOff: "SQL이 꺼져 있습니다. --sql 옵션으로 시작하세요.",
  sqlStill: "정적 사본에는 SQL이 없습니다.", kept: "처음 {n}행까지 보관", took: "{ms} ms", onlyFirst: "처음",
  still: "정적 사본", stillHint: "{from}부터 {to}까지의 사본입니다. 제외: SQL, Python 코드, 화면별 Parquet. 전체 change point:",
  askedOf: "{time} 기준 데이터",
};

const TABLES = { en: EN, ko: KO };

export let language = chosen();

function chosen() {
  let stored = null;
  try {
    stored = localStorage.getItem("titans-language");
  } catch {
    // As theme.js.
  }
  if (stored in TABLES) return stored;
  return navigator.language.startsWith("ko") ? "ko" : "en";
}

export function speak(wanted) {
  language = wanted;
  document.documentElement.lang = wanted;
  try {
    localStorage.setItem("titans-language", wanted);
  } catch {
    // It is English or Korean until the page is closed.
  }
}

export function t(name, values = {}) {
  const text = TABLES[language][name] ?? EN[name] ?? name;
  return text.replace(/\{(\w+)\}/g, (whole, key) => values[key] ?? whole);
}

export const names = () => [Object.keys(EN), Object.keys(KO)];
