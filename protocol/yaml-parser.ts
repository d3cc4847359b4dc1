// The YAML parser, in a file of its own: it is loaded only for documents that are not JSON. A
// package in CommonJS keeps its names in a bundle only behind a static import.
export { isMap, isScalar, isSeq, LineCounter, parseDocument } from "yaml";
