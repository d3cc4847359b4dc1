// pino, in a file of its own: it is loaded only by what writes a log of its own. A package in
// CommonJS keeps its names in a bundle only behind a static import.
export { pino } from "pino";
