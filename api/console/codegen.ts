import type { CodegenConfig } from "@graphql-codegen/cli";

// Types and documents from the gateway's own SDL: an operation that the schema does not have fails here, not in a browser.
const config: CodegenConfig = {
  schema: "../../docs/schema.graphql",
  documents: "src/queries/*.graphql",
  generates: {
    "src/gen/": {
      preset: "client",
      presetConfig: { fragmentMasking: false },
      config: {
        documentMode: "string",
        useTypeImports: true,
        enumsAsTypes: true,
        strictScalars: true,
        scalars: {
          DateTime: "string",
          Decimal: "string",
          JSON: "unknown",
          LocalDate: "string",
          LocalDateTime: "string",
          LocalTime: "string",
          PhoneNumber: "string",
          Position: "string",
          TimeZone: "string",
        },
      },
    },
  },
};

export default config;
