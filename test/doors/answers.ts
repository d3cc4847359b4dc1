// The answers of the doors as their description has them, by hand: what tests may name. That an answer
// has nothing else, the test of the OpenAPI document sees.

export interface RunAnswer {
  status: string;
  stdout: string;
  stderr: string;
  exit_code: number;
  detail?: string;
  time_used_ms?: number;
  memory_used_kb?: number;
  resource_limit_type?: string;
  unauthorized_access_type?: string;
  runtime_error_type?: string;
  artifacts: { name: string; mime_type: string; size: number; content_b64: string }[];
  result?: { present: boolean; value: unknown; type: string };
  isolation?: string;
}

/** What FastAPI's validation answers, which callers of `/run` know. */
export interface RunRefusal {
  detail: { loc: string[]; msg: string; type: string }[];
}

export interface Task {
  id: string;
  state: string;
  language: string;
  owner?: string;
  priority: number;
  attempt: number;
  created_at: number;
  started_at?: number;
  finished_at?: number;
  queue_ms?: number;
  exit_code?: number;
  signal?: string;
  stdout?: string;
  stderr?: string;
  result?: unknown;
  files?: { name: string; size: number }[];
  refused_files?: { path: string; why: string }[];
  error?: { class: string; reason: string; fault: string; message: string };
  usage?: { [name: string]: number };
  isolation?: string;
  node?: string;
}

export interface Accepted {
  task_id: string;
  state: string;
}

export interface ApiError {
  error: {
    class: string;
    code: string;
    message: string;
    remedy: string;
    diagnostics?: { code: string; path: string; message: string; remedy: string }[];
  };
}
