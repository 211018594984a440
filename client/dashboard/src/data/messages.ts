/** What the gateway tells as events. Names and units are those of the proto files. */

export interface Device {
  name: string;
  description: string;
  total_bytes: number;
  usable_bytes: number;
  reserved_bytes: number;
  active_sessions: number;
}

export interface ServerMessage {
  type: "server";
  connected: boolean;
  address: string;
  /** In words, when it is not connected. */
  error: string;
  /** What may be done to sessions from this page. */
  actions: string[];
  /** By the gateway's clock, seconds since 1970. */
  now_s: number;
  info: { version: string; devices: Device[]; uptime_s: number } | null;
}

export interface Summary {
  id: string;
  state: string;
  create_time: string;
  accepted_frames: number;
  expected_points: number;
  active_points: number;
  iteration: number;
  frames_per_second: number;
  iterations_per_second: number;
  r_factor: number | null;
  device: string;
  device_bytes: number;
  warnings: number;
  partial: boolean;
  failure: string;
}

export interface SessionsMessage {
  type: "sessions";
  sessions: Summary[];
}

export interface Rejection {
  reason: string;
  count: number;
  first_frame_id: number;
  detail: string;
}

export interface Counters {
  received: number;
  accepted: number;
  rejections: Rejection[];
  clamped: number;
  watermark: number;
  durable_watermark: number;
  untrusted_pixels: number;
  payload_bytes: number;
  skipped: number;
}

export interface Fit {
  r_factor: number | null;
  poisson_nll: number | null;
}

export interface Session {
  name: string;
  config: Record<string, unknown> & { scan?: { expected_points?: number } };
  state: string;
  end_of_data: string;
  completion: string;
  partial: boolean;
  failure: string;
  create_time?: string;
  end_time?: string;
  frames?: Counters;
  positions?: Counters;
  joined_points: number;
  active_points: number;
  empty_frames: number;
  frames_without_position: number;
  positions_without_frame: number;
  incomplete_encoder_frames: number;
  staged_frames: number;
  held_out_points: number;
  iteration: number;
  iterations_per_second: number;
  snapshot_version: number;
  metrics?: {
    r_factor: number | null;
    elapsed_s: number | null;
    coverage: number | null;
    mode_powers: number[];
    evaluation?: { iteration: number; fit?: Fit; held_out?: Fit };
  };
  final_fit?: Fit;
  device: string;
  device_bytes: number;
  warnings: string[];
  durability: string;
  durability_failure: string;
  checkpoint_version: number;
  rollbacks: number;
  restarts: number;
}

export interface SessionMessage {
  type: "session";
  id: string;
  /** Names one life of the session, within which a version number means one picture. */
  epoch: string;
  /** null: there is no such session. */
  session: Session | null;
  /** Versions of the object that can still be asked for, oldest first. */
  kept_versions: number[];
  /** Pixels along each axis that the gateway sends of an object at most. */
  picture_px: number;
}

export type Message = ServerMessage | SessionsMessage | SessionMessage;

const FINAL = ["COMPLETED", "STOPPED", "FAILED"];

/** "reconstructing" of "SESSION_STATE_RECONSTRUCTING". */
export function stateWord(state: string): string {
  return state.replace("SESSION_STATE_", "").toLowerCase();
}

export function isFinal(state: string): boolean {
  return FINAL.includes(state.replace("SESSION_STATE_", ""));
}

/** "wrong shape" of "REJECT_REASON_WRONG_SHAPE". */
export function reasonWords(reason: string): string {
  return reason.replace("REJECT_REASON_", "").toLowerCase().replaceAll("_", " ");
}
