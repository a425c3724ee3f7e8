"""The figures of the three financial statements, as the upstream calls them, beyond the fields they all begin with.

No column holds them: the statements are kept as they are. The names are here so that a new figure, a figure that has
gone, and one that is no number any more are noticed.
"""

from __future__ import annotations

INCOME_STATEMENT = """
    revenue costOfRevenue grossProfit researchAndDevelopmentExpenses generalAndAdministrativeExpenses
    sellingAndMarketingExpenses sellingGeneralAndAdministrativeExpenses otherExpenses operatingExpenses
    costAndExpenses netInterestIncome interestIncome interestExpense depreciationAndAmortization ebitda ebit
    nonOperatingIncomeExcludingInterest operatingIncome totalOtherIncomeExpensesNet incomeBeforeTax
    incomeTaxExpense netIncomeFromContinuingOperations netIncomeFromDiscontinuedOperations
    otherAdjustmentsToNetIncome netIncome netIncomeDeductions bottomLineNetIncome eps epsDiluted
    weightedAverageShsOut weightedAverageShsOutDil
"""

BALANCE_SHEET_STATEMENT = """
    cashAndCashEquivalents shortTermInvestments cashAndShortTermInvestments netReceivables accountsReceivables
    otherReceivables inventory prepaids otherCurrentAssets totalCurrentAssets propertyPlantEquipmentNet goodwill
    intangibleAssets goodwillAndIntangibleAssets longTermInvestments taxAssets otherNonCurrentAssets
    totalNonCurrentAssets otherAssets totalAssets totalPayables accountPayables otherPayables accruedExpenses
    shortTermDebt capitalLeaseObligationsCurrent taxPayables deferredRevenue otherCurrentLiabilities
    totalCurrentLiabilities longTermDebt capitalLeaseObligationsNonCurrent deferredRevenueNonCurrent
    deferredTaxLiabilitiesNonCurrent otherNonCurrentLiabilities totalNonCurrentLiabilities otherLiabilities
    capitalLeaseObligations totalLiabilities treasuryStock preferredStock commonStock retainedEarnings
    additionalPaidInCapital accumulatedOtherComprehensiveIncomeLoss otherTotalStockholdersEquity
    totalStockholdersEquity totalEquity minorityInterest totalLiabilitiesAndTotalEquity totalInvestments
    totalDebt netDebt
"""

CASH_FLOW_STATEMENT = """
    netIncome depreciationAndAmortization deferredIncomeTax stockBasedCompensation changeInWorkingCapital
    accountsReceivables inventory accountsPayables otherWorkingCapital otherNonCashItems
    netCashProvidedByOperatingActivities investmentsInPropertyPlantAndEquipment acquisitionsNet
    purchasesOfInvestments salesMaturitiesOfInvestments otherInvestingActivities
    netCashProvidedByInvestingActivities netDebtIssuance longTermNetDebtIssuance shortTermNetDebtIssuance
    netStockIssuance netCommonStockIssuance commonStockIssuance commonStockRepurchased netPreferredStockIssuance
    netDividendsPaid commonDividendsPaid preferredDividendsPaid otherFinancingActivities
    netCashProvidedByFinancingActivities effectOfForexChangesOnCash netChangeInCash cashAtEndOfPeriod
    cashAtBeginningOfPeriod operatingCashFlow capitalExpenditure freeCashFlow incomeTaxesPaid interestPaid
"""
