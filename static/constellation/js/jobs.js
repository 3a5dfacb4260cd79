import { Fragment } from "./fragment.js";
import { listen } from "./live.js";

const list = new Fragment("job-list");
listen("jobs", { event: () => list.refresh(), reopened: () => list.refresh() });
